// Package nethostv1 is the local API as generated from nethost.proto: messages,
// client and server of NodeService. Programs use package sdk/client, which wraps
// it; other languages generate from the .proto.
//
// Generate again with `make proto`, which needs protoc.
package nethostv1
