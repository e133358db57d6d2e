package main

import (
	"maps"

	"nethost/host/module"
	"nethost/sdk"
	"nethost/subprotocols/builtin"
)

// builtinGrants are what compiled-in modules of this project get when the operator
// says nothing about them: what they cannot work without. A table [grants.NAME]
// takes the place of the whole of it.
func builtinGrants() map[string]map[string]any {
	return map[string]map[string]any{
		"capability": {"state": "1MiB", "sign": true, "connect": true},
		"identity":   {"state": "8MiB"},
		"channels":   {"state": "2MiB", "connect": true, "wall": true, "announce": []any{"chan:"}, "call": []any{"capability", "identity"}},
	}
}

// builtinSpec is the package of a compiled-in module.
func builtinSpec(name string, opts module.Options) module.Spec {
	grants := builtinGrants()
	maps.Copy(grants, opts.Grants)
	opts.Grants = grants
	opts.BuiltinConfig = map[string][]sdk.Pair{"identity": {{Key: "issuers"}}, "channels": {{Key: "access"}}}
	spec := module.BuiltinSpec(name, builtin.All()[name]().Describe(), opts)
	if _, said := opts.Overrides[name]["inline"]; !said && name != "echo" {
		// A query may take a millisecond, which is too long for the reader.
		spec.Limits.Inline, spec.Limits.CPUMax = false, module.DefaultLimits.CPUMax
	}
	return spec
}
