// Package measure runs experiments on a swarm in the simulator and reports figures:
// what failure costs, what health is worth, what observation costs as the mesh
// grows. All times are virtual, so that the machine has no part in them; the same
// seed gives the same figures. It prints nothing and knows no target: that is for
// the caller.
package measure
