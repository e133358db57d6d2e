// Package frame is batches on a byte stream: a length of four bytes, little
// endian, then as many bytes of batch (sdk/abi). It is what travels on the data
// socket between a host and a module in a process of its own, in both
// directions.
//
// It does not look into a batch and owns no connection. Nothing allocates once
// the buffers have grown to the largest batch seen.
package frame
