package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// ipTool is where iproute2 may be when PATH does not have it.
const ipTool = "/usr/sbin/ip"

// ipCommand finds iproute2.
var ipCommand = sync.OnceValues(func() (string, error) {
	if path, err := exec.LookPath("ip"); err == nil {
		return path, nil
	}
	if _, err := os.Stat(ipTool); err != nil {
		return "", errors.New("there is no ip command (package iproute2)")
	}
	return ipTool, nil
})

// vethNet makes two network namespaces joined by a veth pair. Even nodes live in one
// and odd ones in the other, so that each hop crosses the pair. undo takes them away.
func vethNet(ctx context.Context) (w wire, undo func(), err error) {
	if os.Geteuid() != 0 {
		return w, nil, errors.New("network namespaces need root")
	}
	ip, err := ipCommand()
	if err != nil {
		return w, nil, err
	}
	run := func(args string) error {
		out, err := exec.CommandContext(ctx, ip, strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	w = wire{name: "veth"}
	for i := range w.names {
		w.names[i] = fmt.Sprintf("nhbench%d-%d", os.Getpid(), i)
		w.addrs[i] = netip.AddrFrom4([4]byte{10, 77, 77, byte(i + 1)})
	}
	undo = func() {
		for _, ns := range w.names {
			_ = exec.Command(ip, "netns", "del", ns).Run() // the pair goes with it
		}
	}
	steps := []string{"netns add " + w.names[0], "netns add " + w.names[1],
		fmt.Sprintf("link add veth0 netns %s type veth peer name veth0 netns %s", w.names[0], w.names[1])}
	for i, ns := range w.names {
		steps = append(steps, fmt.Sprintf("-n %s addr add %s/24 dev veth0", ns, w.addrs[i]),
			fmt.Sprintf("-n %s link set veth0 up", ns), fmt.Sprintf("-n %s link set lo up", ns))
	}
	for _, s := range steps {
		if err := run(s); err != nil {
			undo()
			return w, nil, err
		}
	}
	return w, undo, nil
}
