package main

import (
	"fmt"
	"math"
	"strconv"
)

// machineFacts are the capability tags of the machine that the host does not know
// itself. What cannot be read is left out. What changes all the time is rounded, so
// that it is not announced all the time.
func machineFacts(data string) []string {
	return append([]string{"software.nethost=" + release}, systemFacts(data)...)
}

// gib writes bytes as GiB with two leading digits, as people would.
func gib(bytes uint64) string {
	g := float64(bytes) / (1 << 30)
	if g >= 10 {
		unit := math.Pow(10, math.Floor(math.Log10(g))-1)
		g = math.Round(g/unit) * unit
		return strconv.FormatFloat(g, 'f', 0, 64)
	}
	return strconv.FormatFloat(math.Round(g*10)/10, 'f', -1, 64)
}

// loadTag is the load of the last minute in steps of 25 % of all processors. More
// than twice what there is counts as twice: it is too much either way.
func loadTag(load1 float64, cores int) string {
	return fmt.Sprintf("hardware.load_pct=%d", min(200, int(math.Round(load1*100/float64(cores)/25))*25))
}
