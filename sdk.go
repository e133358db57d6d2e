package nethost

import "embed"

// SDK holds what module authors need, below sdk/: the packages of Go guests and
// plugins, and the SDKs of the other languages. The binary carries it, so that a module
// can be written where this source is not.
//
//go:embed sdk/*.go sdk/abi/*.go sdk/abi/SPEC.md sdk/guest sdk/internal sdk/plugin sdk/sdktest sdk/abi/testdata/*.hex
//go:embed sdk/name sdk/token sdk/gossip
//go:embed sdk/c/nethost.h sdk/rust/src sdk/rust/Cargo.toml sdk/assemblyscript/nethost.ts sdk/assemblyscript/package.json sdk/python/nethost.py
//go:embed subprotocols/builtin/echo go.mod go.sum
var SDK embed.FS
