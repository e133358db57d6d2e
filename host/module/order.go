package module

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// calleeWait is how long a module waits for one that it calls to come up. It
// starts without it then: a call is answered UNSUPPORTED_ID, as it would be later.
const calleeWait = 10 * time.Second

// Order sorts modules so that each comes after those it calls (its wants.call),
// and by name where that says nothing. Modules that call each other in a circle do
// not wait for one another; each gets a note that names the circle (K6).
func Order(specs []Spec) []Spec {
	o := orderer{specs: slices.Clone(specs), index: map[string]int{}}
	slices.SortFunc(o.specs, func(a, b Spec) int { return strings.Compare(a.Name, b.Name) })
	for i := range o.specs {
		o.index[o.specs[i].Name] = i
	}
	o.seen, o.low, o.open = make([]int, len(specs)), make([]int, len(specs)), make([]bool, len(specs))
	for i := range o.specs {
		if o.seen[i] == 0 {
			o.visit(i)
		}
	}
	return o.out
}

// orderer finds the strongly connected components of the calls (Tarjan 1972). They
// come out with the callees first.
type orderer struct {
	specs     []Spec
	index     map[string]int
	seen, low []int // order of the visit, from 1; the least one reached
	open      []bool
	stack     []int
	visits    int
	out       []Spec
}

// callees gives the modules here that one calls, by index.
func (o *orderer) callees(i int) []int {
	var out []int
	for _, name := range o.specs[i].Standing.Wanted.Call {
		if j, ok := o.index[name]; ok && j != i {
			out = append(out, j)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (o *orderer) visit(i int) {
	o.visits++
	o.seen[i], o.low[i], o.open[i] = o.visits, o.visits, true
	o.stack = append(o.stack, i)
	for _, j := range o.callees(i) {
		if o.seen[j] == 0 {
			o.visit(j)
			o.low[i] = min(o.low[i], o.low[j])
		} else if o.open[j] {
			o.low[i] = min(o.low[i], o.seen[j])
		}
	}
	if o.low[i] != o.seen[i] {
		return
	}
	at := slices.Index(o.stack, i)
	circle := slices.Clone(o.stack[at:])
	o.stack = o.stack[:at]
	slices.Sort(circle)
	for _, j := range circle {
		o.open[j] = false
		s := o.specs[j]
		for _, k := range o.callees(j) {
			if !slices.Contains(circle, k) {
				s.Standing.after = append(s.Standing.after, o.specs[k].Name)
			}
		}
		if len(circle) > 1 {
			s.Standing.Notes = append(slices.Clone(s.Standing.Notes), fmt.Sprintf("%s call each other in a circle: they start together, so a first call may find the other not ready; take one call out of [wants] to have an order", o.names(circle)))
		}
		o.out = append(o.out, s)
	}
}

func (o *orderer) names(list []int) string {
	var names []string
	for _, i := range list {
		names = append(names, o.specs[i].Name)
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// awaitCallees waits until the modules that s calls have come up or failed for the
// first time.
func (s *supervisor) awaitCallees(ctx context.Context) {
	if len(s.spec.Standing.after) == 0 {
		return
	}
	timer := time.NewTimer(calleeWait)
	defer timer.Stop()
	for _, other := range s.m.view.Load().slots {
		if other == nil || !slices.Contains(s.spec.Standing.after, other.spec.Name) {
			continue
		}
		select {
		case <-other.settled:
		case <-timer.C:
			s.log.Warn("a module that this one calls is not up yet: starting without it", "calls", other.spec.Name, "waited", calleeWait)
			return
		case <-ctx.Done():
			return
		}
	}
}

// settle says that the first start has come to an end, well or not.
func (s *supervisor) settle() { s.settling.Do(func() { close(s.settled) }) }
