// Package channel is what an application and the module channels say to each other:
// the first line of a stream, and the records that follow it. Package sdk/client
// speaks it, so does everything else that publishes or subscribes. SPEC.md beside
// this file has the bytes.
package channel
