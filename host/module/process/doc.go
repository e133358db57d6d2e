// Package process carries modules as programs of their own, launched through
// hashicorp/go-plugin. go-plugin does handshake, protocol version and control;
// batches travel on a second unix socket (package frame), which is ten times
// faster and which any language can write.
//
// What runs is what was checked: the file is opened once, hashed, and that open
// file is executed. The program gets a clean environment, a private working
// directory and a process group of its own. It cannot outlive the host: the end
// of its data socket and of its stdin tell it to go, on Linux the kernel kills it
// when the host dies, and the end of the program ends its children.
//
// The package restarts nothing and judges no effect: that is the supervisor's.
package process
