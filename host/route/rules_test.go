package route

import (
	"nethost/host/identity"
	"nethost/host/wire"
)

const trials = 150

func ridOf(i int) wire.RID { return identity.RIDOf(idOf(i)) }
