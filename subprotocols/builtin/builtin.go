// Package builtin is the one list of the protocols compiled into the host. A
// protocol that is not in All is not in the host: nothing registers itself.
package builtin

import (
	"nethost/sdk"
	"nethost/subprotocols/builtin/capability"
	"nethost/subprotocols/builtin/channels"
	"nethost/subprotocols/builtin/echo"
	"nethost/subprotocols/builtin/identity"
)

// All gives the factory of each built-in module by the module's name. A factory
// is called once for each instance, so a restart begins from nothing.
func All() map[string]func() sdk.Module {
	return map[string]func() sdk.Module{
		"capability": capability.New,
		"channels":   channels.New,
		"echo":       echo.New,
		"identity":   identity.New,
	}
}
