package process

import (
	"fmt"
	"os"

	"nethost/host/module"
)

var _ module.Sizer = (*instance)(nil)

// Memory is the resident memory of the program itself, in bytes; 0 when the system
// does not tell.
func (in *instance) Memory() uint64 {
	b, err := os.ReadFile("/proc/" + in.run.ID() + "/statm")
	if err != nil {
		return 0
	}
	var all, resident uint64
	if _, err := fmt.Sscan(string(b), &all, &resident); err != nil {
		return 0
	}
	return resident * uint64(os.Getpagesize())
}
