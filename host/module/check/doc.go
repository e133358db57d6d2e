// Package check is the conformance kit behind `nethost module test`: it puts any
// module, whatever it is for, through what every host may do to it, and says for each
// case whether the module kept the contract.
//
// It knows the contract (sdk, sdk/abi) and what the module's package says of it, and
// nothing of what the module's protocol means.
package check
