package stream

import "time"

const (
	maxGens     = 4     // key generations remembered on each side
	maxInFlight = 8192  // packets: no more data leaves before some are acknowledged
	maxTracked  = 16384 // packets: control packets beyond are not waited for
)

type itemKind uint8

const (
	itemData itemKind = iota
	itemCredit
	itemReset
)

// item is something that a packet carried and that must arrive. Every byte of a
// stream that was sent and not acknowledged is covered by an item, in a packet of
// the log or in the stream's chain of lost pieces.
type item struct {
	sid, off uint64
	n        uint32
	next     int32
	kind     itemKind
	fin      bool
}

// chain is a list of items, by their index in the log.
type chain struct{ head, tail int32 }

var noItems = chain{none, none}

const none int32 = -1

// packet is a packet that the peer has to acknowledge.
type packet struct {
	counter    uint64
	order      uint64 // counts up over all generations
	at         time.Duration
	ackTop     uint64 // highest counter of the ack it carried
	items      chain
	prev, next int32
	ackGen     uint32
	size       int32 // bytes counted against the window
	hasAck     bool
	probed     bool // its items were sent again as a probe
	probe      bool // it asks what the path carries: SentProbe
	train      bool // it left in one piece with others: SentInTrain
	length     int32
}

// sentGen lists the packets sent under one key generation, oldest first.
type sentGen struct {
	gen        uint32
	used       bool   // top counts
	marks      uint64 // congestion marks that the peer has counted
	top        uint64 // highest counter sent
	head, tail int32
}

// sentLog holds what was sent and not acknowledged. Packets and items live in two
// slabs with free lists, so a steady flow allocates nothing.
type sentLog struct {
	packets    []packet
	items      []item
	freePacket int32
	freeItem   int32
	gens       [maxGens]sentGen // oldest first
	nGens      int
	order      uint64
	count      int
}

func newSentLog() sentLog { return sentLog{freePacket: none, freeItem: none} }

// find returns the generation, or nil.
func (l *sentLog) find(gen uint32) *sentGen {
	for i := l.nGens - 1; i >= 0; i-- {
		if l.gens[i].gen == gen {
			return &l.gens[i]
		}
	}
	return nil
}

// begin adds a generation; the caller has made room.
func (l *sentLog) begin(gen uint32) *sentGen {
	l.gens[l.nGens] = sentGen{gen: gen, head: none, tail: none}
	l.nGens++
	return &l.gens[l.nGens-1]
}

// retire removes the oldest generation, which must be empty.
func (l *sentLog) retire() {
	copy(l.gens[:], l.gens[1:l.nGens])
	l.nGens--
}

func (l *sentLog) add(g *sentGen, p *packet) {
	i := l.freePacket
	if i == none {
		if i = int32(len(l.packets)); i == 0 {
			l.packets = make([]packet, 0, smallSlab)
		}
		l.packets = append(l.packets, packet{})
	} else {
		l.freePacket = l.packets[i].next
	}
	l.order++
	p.order, p.prev, p.next = l.order, g.tail, none
	l.packets[i] = *p
	if g.tail != none {
		l.packets[g.tail].next = i
	} else {
		g.head = i
	}
	g.tail = i
	l.count++
}

// remove takes a packet, whose items are settled, out of its generation.
func (l *sentLog) remove(g *sentGen, i int32) {
	p := &l.packets[i]
	if p.prev != none {
		l.packets[p.prev].next = p.next
	} else {
		g.head = p.next
	}
	if p.next != none {
		l.packets[p.next].prev = p.prev
	} else {
		g.tail = p.prev
	}
	p.next = l.freePacket
	l.freePacket = i
	l.count--
}

// newItem puts a new item at the end of a chain.
func (l *sentLog) newItem(c *chain, it item) {
	i := l.freeItem
	if i == none {
		i = int32(len(l.items))
		l.items = append(l.items, it)
	} else {
		l.freeItem = l.items[i].next
		l.items[i] = it
	}
	l.append(c, i)
}

func (l *sentLog) append(c *chain, i int32) {
	l.items[i].next = none
	if c.tail != none {
		l.items[c.tail].next = i
	} else {
		c.head = i
	}
	c.tail = i
}

// shift takes the first item off a chain; the item stays allocated.
func (l *sentLog) shift(c *chain) int32 {
	i := c.head
	if c.head = l.items[i].next; c.head == none {
		c.tail = none
	}
	return i
}

func (l *sentLog) freeOne(i int32) {
	l.items[i].next = l.freeItem
	l.freeItem = i
}

func (l *sentLog) free(c *chain) {
	for c.head != none {
		l.freeOne(l.shift(c))
	}
}
