// Package channels is subprotocol 0x0A00: publish and subscribe without a broker.
// A channel has a name and any number of publishers and subscribers on any nodes;
// who subscribes needs the name, not a node. Publishers announce their channels
// through the module capability, subscribers find and join all of them.
//
// It knows nothing of what an event means, of applications, or of the way between
// two nodes. SPEC.md beside this file numbers its rules.
package channels
