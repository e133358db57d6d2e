package sdk

// Module is a protocol implementation, whatever carries it.
//
// The host never calls the two methods concurrently and never re-enters Handle.
// Handle must not block: a builtin that blocks holds its own mailbox, a guest
// that blocks traps.
type Module interface {
	// Describe says which ids and versions the module speaks and what it
	// asks for. It must return the same value every time.
	Describe() Descriptor
	// Handle takes one event. The event and its Payload are valid until Handle
	// returns; keep a copy of what must live longer. It is passed by reference
	// because a wasm guest passes arguments through memory.
	Handle(env *Env, ev *Event)
}

// Descriptor is what a module says about itself. For packages in a plugin
// directory the same facts stand in module.toml and the host compares them.
type Descriptor struct {
	// Name of the module: lower-case letters, digits and dashes.
	Name string
	// Release is the version of the package, such as "0.3.1".
	Release string
	// Subprotocols lists what the module answers to, at least one. Two lines
	// may share an id when their majors differ (side-by-side versions).
	Subprotocols []Subprotocol
	// Methods are the method names an application may call, for the CLI's
	// listing; the first is the default one.
	Methods []string
}

// Subprotocol is one line of a manifest: an id spoken at a version.
type Subprotocol struct {
	ID      ID
	Version Version
	// MinPeer is the oldest version of the peer this side still talks to. It
	// has the same major as Version.
	MinPeer Version
	// Required refuses a session that does not agree on this id.
	Required bool
}
