package sdk

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a subprotocol's major.minor. Within one major a newer minor talks
// to an older one; majors do not talk to one another.
type Version struct{ Major, Minor uint8 }

// String gives "1.2".
func (v Version) String() string {
	return strconv.Itoa(int(v.Major)) + "." + strconv.Itoa(int(v.Minor))
}

// Compare orders versions by major, then minor.
func (v Version) Compare(w Version) int {
	if v.Major != w.Major {
		return int(v.Major) - int(w.Major)
	}
	return int(v.Minor) - int(w.Minor)
}

// ParseVersion reads "1.2".
func ParseVersion(s string) (Version, error) {
	major, minor, ok := strings.Cut(s, ".")
	a, errA := strconv.ParseUint(major, 10, 8)
	b, errB := strconv.ParseUint(minor, 10, 8)
	if !ok || errA != nil || errB != nil {
		return Version{}, fmt.Errorf("version %q: want major.minor, each 0 to 255, such as \"1.0\"", s)
	}
	return Version{uint8(a), uint8(b)}, nil
}
