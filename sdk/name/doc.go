// Package name is the grammar of resource names such as "sensors/temp/3" and of
// the patterns that stand for many of them: "sensors/*", "sensors/**". Channels
// are named so, and permission tokens name what they permit so. SPEC.md beside
// this file numbers its rules.
//
// It knows nothing of what a name names.
package name
