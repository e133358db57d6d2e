package main

import (
	"os"
	"strconv"

	"nethost/sdk"
	"nethost/sdk/plugin"
	"nethost/subprotocols/builtin/echo"
)

// runEchoPlugin is the command echoplugin NAME ID of the scripts: an echo under
// another name.
func runEchoPlugin() {
	id, _ := strconv.ParseUint(os.Args[2], 0, 16)
	plugin.Serve(renamed{echo.New(), sdk.Descriptor{Name: os.Args[1], Subprotocols: []sdk.Subprotocol{
		{ID: sdk.ID(id), Version: sdk.Version{Major: 1}, MinPeer: sdk.Version{Major: 1}}}}})
}

type renamed struct {
	sdk.Module
	as sdk.Descriptor
}

func (r renamed) Describe() sdk.Descriptor { return r.as }
