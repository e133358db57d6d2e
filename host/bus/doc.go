// Package bus carries events between goroutines of one process: many producers,
// many consumers, each of which sees every event.
//
// A bus is a few rings of bounded memory. A producer stays with one ring, so its
// events are read in the order it published them; events of different producers
// have no order. What happens when a consumer falls a whole ring behind is the
// bus's Mode, and every event that somebody did not get is counted.
//
// It knows nothing of nodes, sessions and modules: it is here for programs that
// embed a host and hand its events around inside themselves.
package bus
