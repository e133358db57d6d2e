// Package route knows which neighbour is next towards every node of the mesh.
//
// It is Babel's distance vector (RFC 8966) with an origin's signed wave as the
// update: the origin signs {NodeID, incarnation, sequence, digest}; metric, hop
// count and MTU are added hop by hop inside authenticated sessions. The
// feasibility condition keeps forwarding free of loops at every instant, even
// when updates are lost or late. SPEC.md numbers the rules.
//
// The package is pure: it knows neither packets nor clocks. The kernel feeds it
// with messages and the state of its neighbours, checks signatures when asked
// ([Verify]), and sends what [Table.Out] holds.
package route
