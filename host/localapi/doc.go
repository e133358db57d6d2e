// Package localapi is the local door of a node: Connect (and so gRPC, gRPC-web
// and plain JSON for curl) over a unix socket that only its owner may open.
//
// It knows neither the kernel nor the modules: [Backend] is everything it asks
// of a node. sdk/client is the other side; the messages are generated from
// sdk/client/nethostv1/nethost.proto.
package localapi
