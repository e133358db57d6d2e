// Package liveness decides whether a neighbour is there, from what was sent and
// what was heard. It knows neither packets nor routes: the kernel reports, and
// does what [Detector.OnTimer] asks for.
//
//	          silence while sending      probe unanswered     burst unanswered
//	Alive ------------------------> probe ------------> burst ----------------> Suspect
//	  ^                                                                            |
//	  |                       anything authentic was heard                         |
//	  +<---------------------------------------------------------------------------+
//	                                                          Dead after <---------+
//
// SPEC.md numbers the rules.
package liveness
