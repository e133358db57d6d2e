package kernel

import (
	"fmt"
	"time"

	"nethost/host/liveness"
)

// Profile is how soon a silent neighbour is given up.
type Profile uint8

// The profiles.
const (
	ProfileDefault Profile = iota // 150 ms
	ProfileFast                   // 50 ms
	profileCustom                 // Config.DeadAfter says something else
)

// ParseProfile reads "default" or "fast".
func ParseProfile(name string) (Profile, error) {
	for p := ProfileDefault; p < profileCustom; p++ {
		if p.String() == name {
			return p, nil
		}
	}
	return 0, fmt.Errorf("no liveness profile %q: there is default (dead after 150 ms) and fast (50 ms)", name)
}

// String is the name of the profile.
func (p Profile) String() string { return [...]string{"default", "fast", "custom"}[p] }

// Dead is the silence after which a neighbour is given up.
func (p Profile) Dead() time.Duration {
	if p == ProfileFast {
		return liveness.FastDead
	}
	return liveness.DefaultDead
}
