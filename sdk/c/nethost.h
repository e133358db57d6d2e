/* nethost.h: a nethost module in C, compiled to WebAssembly.
 *
 * One file of the module defines NETHOST_IMPLEMENTATION before it includes this
 * header, and the function nh_handle, which gets one event at a time:
 *
 *     #define NETHOST_IMPLEMENTATION
 *     #include "nethost.h"
 *
 *     void nh_handle(const nh_event *ev) {
 *         if (ev->kind == NH_EV_MESSAGE)
 *             nh_send(ev->peer, ev->id, NH_REALTIME, ev->data);
 *     }
 *
 * What the module wants done it says with the functions below; the host does it
 * when the batch of events is over, and answers with later events. Events end
 * with NH_EV_FLUSH. A module has no clock, thread, socket or file: nh_now is the
 * time of the batch. Memory that an event points to is valid until nh_handle
 * returns. What goes into an effect is copied.
 *
 * The header needs no libc. It keeps ABI 1 (sdk/abi/SPEC.md; the clauses are named
 * where they are kept). Bytes that break it, and more than a batch may hold (1 MiB,
 * 8192 effects), trap: the host throws the instance away and starts a fresh one. */
#ifndef NETHOST_H
#define NETHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uint64_t nh_ref;  /* a stream, a timer, a question. Ours are odd, the host's even */
typedef uint32_t nh_peer; /* a session with a peer, until its NH_EV_PEER_DOWN */
typedef uint16_t nh_id;   /* a subprotocol */

typedef struct {
    const uint8_t *ptr;
    size_t len;
} nh_bytes;

#define NH_TEXT(s) ((nh_bytes){(const uint8_t *)(s), sizeof(s) - 1}) /* of a literal */
#define NH_NONE ((nh_bytes){NULL, 0})

/* Events, with the fields that mean something (A3). Skip what you do not know. */
enum {
    NH_EV_STATE = 1,            /* data: nh_parse_state; one for each key, before Start */
    NH_EV_CONFIG = 2,           /* data: keys and values in turn, nh_next_tag; before Start */
    NH_EV_START = 3,            /* data: nh_parse_start */
    NH_EV_DRAIN = 4,            /* arg: nanoseconds left; answer nh_drained when nothing is pending */
    NH_EV_STOP = 5,
    NH_EV_FLUSH = 6,            /* the last of every batch */
    NH_EV_PEER_UP = 10,         /* peer id major minor; data: nh_parse_peer */
    NH_EV_PEER_UPDATE = 11,     /* the same */
    NH_EV_PEER_DOWN = 12,       /* peer id; arg: NH_DOWN_* */
    NH_EV_CONNECT_FAILED = 13,  /* ref; arg: code; data: text */
    NH_EV_MESSAGE = 20,         /* peer id major minor; data: the message */
    NH_EV_DROPPED = 21,         /* peer; arg: how many of our messages; data: class, reason */
    NH_EV_OVERLOAD = 22,        /* peer; arg: how many messages for us */
    NH_EV_UNSUPPORTED = 23,     /* peer id */
    NH_EV_WOULD_BLOCK = 24,     /* ref peer id, nh_bulk: an nh_try_send was not taken */
    NH_EV_WRITABLE = 25,        /* peer, nh_bulk: the queue has room again */
    NH_EV_STREAM_OPEN = 30,     /* ref peer id major minor; arg: bytes we may write; data: nh_parse_open */
    NH_EV_STREAM_DATA = 31,     /* ref, nh_fin; data */
    NH_EV_STREAM_CREDIT = 32,   /* ref; arg: so many bytes more may be written */
    NH_EV_STREAM_RESET = 33,    /* ref; arg: code; data: text */
    NH_EV_TIMER = 40,           /* ref */
    NH_EV_POSTED = 41,          /* ref; data */
    NH_EV_COMMITTED = 42,       /* ref */
    NH_EV_SIGNED = 43,          /* ref; data: 64 bytes */
    NH_EV_VERIFIED = 44,        /* ref; arg: 1 or 0 */
    NH_EV_ANNOUNCE_CHANGED = 45, /* id; data: nh_next_tag */
    NH_EV_DENIED = 46,          /* ref; arg: kind of the effect; data: the grant it wants */
    NH_EV_ROUTE = 47            /* arg: cost in us, FIN: no longer reachable; data: node id */
};

enum { NH_REALTIME = 0, NH_BULK = 1 };                                  /* class of a message */
enum { NH_FROM_PEER = 1, NH_FROM_APP = 2, NH_FROM_MODULE = 3 };         /* who opened a stream */
enum {                                                                  /* arg of NH_EV_PEER_DOWN */
    NH_DOWN_GOODBYE = 1,
    NH_DOWN_DEAD = 2,
    NH_DOWN_REPLACED = 3,  /* it restarted; a new session follows */
    NH_DOWN_AGREEMENT = 4, /* the id is no longer agreed */
    NH_DOWN_LOCAL = 5,     /* this host closed the session */
    NH_DOWN_DENIED = 6     /* a rule of one of the two operators forbids it */
};
enum { NH_START_FRESH = 1, NH_START_RESTART = 2, NH_START_UPGRADE = 3 }; /* nh_start.reason */
enum { NH_DEBUG = 0, NH_INFO = 4, NH_WARN = 8, NH_ERROR = 12 };         /* levels of nh_log */

/* Why a stream was reset or a connection failed. */
enum {
    NH_CANCELLED, NH_UNIMPLEMENTED, NH_UNSUPPORTED_ID, NH_PERMISSION_DENIED, NH_OVERLOADED,
    NH_MODULE_RESTARTED, NH_DRAINING, NH_DEADLINE_EXCEEDED, NH_PEER_GONE, NH_NO_ROUTE,
    NH_FLOW_CONTROL, NH_INVALID_ARGUMENT, NH_NOT_FOUND, NH_INTERNAL, NH_HANDSHAKE_FAILED
};

/* Limits (A5). */
#define NH_MAX_BATCH_EVENTS 256u
#define NH_MAX_BATCH_BYTES (256u << 10)
#define NH_MAX_EFFECTS 8192u
#define NH_MAX_EFFECT_BYTES (1u << 20)
#define NH_MAX_MESSAGE (64u << 10)
#define NH_MAX_STREAM_DATA (64u << 10)
#define NH_INITIAL_CREDIT (256u << 10)
#define NH_MAX_STATE_KEY (1u << 10)
#define NH_MAX_STATE_VALUE (64u << 10)
#define NH_MAX_LOG 1024u

typedef struct {
    uint16_t kind, flags;
    nh_peer peer;
    nh_id id;
    uint8_t major, minor;
    nh_ref ref;
    uint64_t arg;
    nh_bytes data;
} nh_event;

typedef struct {
    uint8_t from, hops;
    int64_t deadline; /* nanoseconds left, 0 none */
    nh_bytes principal, method, meta;
} nh_open;

typedef struct {
    uint8_t reason;
    const uint8_t *self;        /* our node id, 32 bytes */
    uint64_t memory, state;     /* limits in bytes; state 0: not granted */
    nh_bytes previous, entropy, secret;
    nh_bytes grants; /* nh_next_tag */
} nh_start;

typedef struct {
    const uint8_t *node; /* 32 bytes */
    int64_t rtt;         /* nanoseconds, 0 not measured */
    uint32_t mtu;        /* largest message that fits one packet */
} nh_peer_info;

/* What the module defines. */
void nh_handle(const nh_event *ev);

/* The batch at hand. */
int64_t nh_now(void);  /* monotonic nanoseconds; stands still during a batch */
int64_t nh_wall(void); /* Unix nanoseconds, 0 without the grant wall */
nh_ref nh_new_ref(void);

static inline bool nh_fin(const nh_event *ev) { return ev->flags & 1; }
static inline bool nh_bulk(const nh_event *ev) { return ev->flags & 2; }
bool nh_same(nh_bytes a, nh_bytes b);

/* Readers of ev->data; false: malformed. */
bool nh_parse_open(nh_bytes data, nh_open *out);
bool nh_parse_start(nh_bytes data, nh_start *out);
bool nh_parse_peer(nh_bytes data, nh_peer_info *out);
bool nh_parse_state(nh_bytes data, nh_bytes *key, nh_bytes *value);
/* The next of a list of short strings; false: there is none, or, when rest->len is
 * not 0, malformed. */
bool nh_next_tag(nh_bytes *rest, nh_bytes *tag);

/* Effects (A3). */
void nh_send(nh_peer peer, nh_id id, int class_, nh_bytes message);
/* Holds back (A8): false means that the host's queue to the peer is full and nothing was
 * written; NH_EV_WRITABLE says when to try again. True is no promise: NH_EV_WOULD_BLOCK with
 * ref says that the message was not taken after all. ref 0 takes a fresh one; within is as
 * in nh_send_within, 0 for none. */
bool nh_try_send(nh_ref ref, nh_peer peer, nh_id id, int class_, uint64_t within, nh_bytes message);
/* A message that is worth nothing when it has not left after so many nanoseconds. */
void nh_send_within(uint64_t within, nh_peer peer, nh_id id, int class_, nh_bytes message);
void nh_send_many(nh_id id, int class_, const nh_peer *peers, uint32_t n, nh_bytes message);
void nh_connect(nh_ref ref, const uint8_t node[32]);
nh_ref nh_open_peer(nh_peer peer, nh_id id, const nh_open *o);
nh_ref nh_open_module(nh_id id, const nh_open *o); /* on this node; needs the grant call */
void nh_write(nh_ref ref, nh_bytes data, bool fin); /* any length; stay within the credit */
void nh_credit(nh_ref ref, uint64_t consumed);      /* when the bytes are done with */
void nh_reset(nh_ref ref, uint32_t code, nh_bytes text);
void nh_after(nh_ref ref, uint64_t nanoseconds); /* at least 1 ms; replaces an earlier timer of ref */
void nh_cancel_timer(nh_ref ref);
void nh_put(nh_bytes key, nh_bytes value); /* needs the grant state */
void nh_delete(nh_bytes key);
void nh_commit(nh_ref ref); /* answers NH_EV_COMMITTED when this batch is on disk */
void nh_post(nh_ref ref, nh_bytes data); /* comes back as NH_EV_POSTED */
void nh_announce(const nh_bytes *tags, uint32_t n);
void nh_sign(nh_ref ref, nh_bytes data);
void nh_verify(nh_ref ref, const uint8_t key[32], const uint8_t sig[64], nh_bytes data);
void nh_log(int level, nh_bytes text);
void nh_count(nh_bytes name, uint64_t delta);
void nh_penalize(nh_peer peer, uint32_t weight, nh_bytes reason);
void nh_drained(void);

#ifdef __cplusplus
}
#endif
#endif /* NETHOST_H */

#ifdef NETHOST_IMPLEMENTATION
#ifndef NETHOST_IMPLEMENTED
#define NETHOST_IMPLEMENTED

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __wasm__
#define NH__EXPORT(name) __attribute__((export_name(name)))
#else
#define NH__EXPORT(name) /* for tests on the machine it is written on */
#endif

#define NH__HEADER 40u
#define NH__RECORD 32u

/* uint64_t makes both 8-aligned (A6.2). One instance is one guest, so static is
 * where its state belongs. */
static uint64_t nh__in[NH_MAX_BATCH_BYTES / 8];
static uint64_t nh__out[NH_MAX_EFFECT_BYTES / 8];
static uint32_t nh__len, nh__count; /* of nh__out */
static int64_t nh__now, nh__wall;
static nh_ref nh__last;

static inline void nh__need(bool ok) {
    if (!ok) __builtin_trap();
}

/* Numbers are little-endian, as WebAssembly is. */
static inline uint64_t nh__get(const uint8_t *p, int n) {
    uint64_t v = 0;
    __builtin_memcpy(&v, p, (size_t)n);
    return v;
}

static inline void nh__set(uint8_t *p, uint64_t v, int n) { __builtin_memcpy(p, &v, (size_t)n); }

int64_t nh_now(void) { return nh__now; }
int64_t nh_wall(void) { return nh__wall; }
nh_ref nh_new_ref(void) { return nh__last = nh__last ? nh__last + 2 : 1; }

bool nh_same(nh_bytes a, nh_bytes b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++)
        if (a.ptr[i] != b.ptr[i]) return false;
    return true;
}

/* nh__room starts an effect whose payload has n bytes and returns where they go. */
static uint8_t *nh__room(uint16_t kind, uint16_t flags, nh_peer peer, nh_id id, nh_ref ref, uint64_t arg, uint64_t n) {
    nh__need(nh__count < NH_MAX_EFFECTS && n <= NH_MAX_EFFECT_BYTES);
    uint64_t end = nh__len + NH__RECORD + ((n + 7) & ~7ull);
    nh__need(end <= NH_MAX_EFFECT_BYTES); /* A5.2 */
    uint8_t *p = (uint8_t *)nh__out + nh__len;
    nh__set(p, kind | (uint64_t)flags << 16 | n << 32, 8);
    nh__set(p + 8, peer | (uint64_t)id << 32, 8);
    nh__set(p + 16, ref, 8);
    nh__set(p + 24, arg, 8);
    if (n & 7) nh__set((uint8_t *)nh__out + end - 8, 0, 8); /* A2.2 */
    nh__len = (uint32_t)end;
    nh__count++;
    return p + NH__RECORD;
}

static uint8_t *nh__copy(uint8_t *to, nh_bytes b) {
    if (b.len) __builtin_memcpy(to, b.ptr, b.len);
    return to + b.len;
}

static uint8_t *nh__copy16(uint8_t *to, nh_bytes b) {
    nh__set(to, b.len, 2);
    return nh__copy(to + 2, b);
}

static void nh__emit(uint16_t kind, uint16_t flags, nh_peer peer, nh_id id, nh_ref ref, uint64_t arg, nh_bytes b) {
    nh__copy(nh__room(kind, flags, peer, id, ref, arg, b.len), b);
}

void nh_send(nh_peer peer, nh_id id, int class_, nh_bytes message) {
    nh__emit(1, class_ == NH_BULK ? 2 : 0, peer, id, 0, 0, message);
}

/* The full queues (A8.3): peer and class. Of more than these the host alone keeps
 * account, and answers NH_EV_WOULD_BLOCK. */
#define NH__FULL 256
static uint64_t nh__full[NH__FULL];
static uint32_t nh__fulls;

static uint64_t nh__queue(nh_peer peer, bool bulk) { return (uint64_t)peer << 1 | (bulk ? 1 : 0); }

static uint32_t nh__find_full(uint64_t q) {
    uint32_t i = 0;
    while (i < nh__fulls && nh__full[i] != q) i++;
    return i;
}

static void nh__set_full(uint64_t q, bool full) {
    uint32_t i = nh__find_full(q);
    if (full && i == nh__fulls && i < NH__FULL)
        nh__full[nh__fulls++] = q;
    else if (!full && i < nh__fulls)
        nh__full[i] = nh__full[--nh__fulls];
}

static void nh__backpressure(const nh_event *ev) {
    if (ev->kind == NH_EV_WOULD_BLOCK || ev->kind == NH_EV_WRITABLE) {
        nh__set_full(nh__queue(ev->peer, nh_bulk(ev)), ev->kind == NH_EV_WOULD_BLOCK);
    } else if (ev->kind == NH_EV_PEER_DOWN) {
        nh__set_full(nh__queue(ev->peer, false), false);
        nh__set_full(nh__queue(ev->peer, true), false);
    }
}

bool nh_try_send(nh_ref ref, nh_peer peer, nh_id id, int class_, uint64_t within, nh_bytes message) {
    if (nh__find_full(nh__queue(peer, class_ == NH_BULK)) < nh__fulls) return false;
    nh__emit(1, class_ == NH_BULK ? 2 : 0, peer, id, ref ? ref : nh_new_ref(), within, message);
    return true;
}

void nh_send_within(uint64_t within, nh_peer peer, nh_id id, int class_, nh_bytes message) {
    nh__emit(1, class_ == NH_BULK ? 2 : 0, peer, id, 0, within ? within : 1, message);
}

void nh_send_many(nh_id id, int class_, const nh_peer *peers, uint32_t n, nh_bytes message) {
    uint8_t *p = nh__room(2, class_ == NH_BULK ? 2 : 0, 0, id, 0, 0, 4 + 4ull * n + message.len);
    nh__set(p, n, 4);
    p = nh__copy(p + 4, (nh_bytes){(const uint8_t *)peers, 4 * (size_t)n});
    nh__copy(p, message);
}

void nh_connect(nh_ref ref, const uint8_t node[32]) { nh__emit(3, 0, 0, 0, ref, 0, (nh_bytes){node, 32}); }

static void nh__open(uint16_t flags, nh_peer peer, nh_id id, nh_ref ref, const nh_open *o) {
    nh__need(o->principal.len <= 0xffff && o->method.len <= 0xffff && o->meta.len <= 0xffff);
    uint8_t *p = nh__room(10, flags, peer, id, ref, 0, 16 + o->principal.len + o->method.len + o->meta.len);
    p[0] = o->from;
    p[1] = o->hops;
    nh__set(p + 2, (uint64_t)o->deadline, 8);
    nh__copy16(nh__copy16(nh__copy16(p + 10, o->principal), o->method), o->meta);
}

nh_ref nh_open_peer(nh_peer peer, nh_id id, const nh_open *o) {
    nh_ref ref = nh_new_ref();
    nh__open(0, peer, id, ref, o);
    return ref;
}

nh_ref nh_open_module(nh_id id, const nh_open *o) {
    nh_ref ref = nh_new_ref();
    nh__open(8, 0, id, ref, o);
    return ref;
}

void nh_write(nh_ref ref, nh_bytes data, bool fin) {
    for (; data.len > NH_MAX_STREAM_DATA; data.ptr += NH_MAX_STREAM_DATA, data.len -= NH_MAX_STREAM_DATA)
        nh__emit(11, 0, 0, 0, ref, 0, (nh_bytes){data.ptr, NH_MAX_STREAM_DATA});
    nh__emit(11, fin ? 1 : 0, 0, 0, ref, 0, data);
}

void nh_credit(nh_ref ref, uint64_t consumed) { nh__room(12, 0, 0, 0, ref, consumed, 0); }
void nh_reset(nh_ref ref, uint32_t code, nh_bytes text) { nh__emit(13, 0, 0, 0, ref, code, text); }
void nh_after(nh_ref ref, uint64_t ns) { nh__room(20, 0, 0, 0, ref, ns < 1000000 ? 1000000 : ns, 0); }
void nh_cancel_timer(nh_ref ref) { nh__room(20, 0, 0, 0, ref, 0, 0); }

void nh_put(nh_bytes key, nh_bytes value) {
    nh__need(key.len <= 0xffff);
    nh__copy(nh__copy16(nh__room(21, 0, 0, 0, 0, 0, 2 + (uint64_t)key.len + value.len), key), value);
}

void nh_delete(nh_bytes key) { nh__emit(22, 0, 0, 0, 0, 0, key); }
void nh_commit(nh_ref ref) { nh__room(23, 0, 0, 0, ref, 0, 0); }
void nh_post(nh_ref ref, nh_bytes data) { nh__emit(24, 0, 0, 0, ref, 0, data); }

void nh_announce(const nh_bytes *tags, uint32_t n) {
    uint64_t size = 0;
    for (uint32_t i = 0; i < n; i++) {
        nh__need(tags[i].len <= 0xffff);
        size += 2 + tags[i].len;
    }
    uint8_t *p = nh__room(25, 0, 0, 0, 0, 0, size);
    for (uint32_t i = 0; i < n; i++) p = nh__copy16(p, tags[i]);
}

void nh_sign(nh_ref ref, nh_bytes data) { nh__emit(26, 0, 0, 0, ref, 0, data); }

void nh_verify(nh_ref ref, const uint8_t key[32], const uint8_t sig[64], nh_bytes data) {
    uint8_t *p = nh__room(27, 0, 0, 0, ref, 0, 96 + (uint64_t)data.len);
    nh__copy(nh__copy(nh__copy(p, (nh_bytes){key, 32}), (nh_bytes){sig, 64}), data);
}

void nh_log(int level, nh_bytes text) {
    if (text.len > NH_MAX_LOG) text.len = NH_MAX_LOG;
    nh__emit(28, 0, 0, 0, 0, (uint64_t)level, text);
}

void nh_count(nh_bytes name, uint64_t delta) { nh__emit(29, 0, 0, 0, 0, delta, name); }
void nh_penalize(nh_peer peer, uint32_t weight, nh_bytes reason) { nh__emit(30, 0, peer, 0, 0, weight, reason); }
void nh_drained(void) { nh__room(31, 0, 0, 0, 0, 0, 0); }

static bool nh__take16(nh_bytes *rest, nh_bytes *out) {
    if (rest->len < 2) return false;
    size_t n = (size_t)nh__get(rest->ptr, 2);
    if (rest->len - 2 < n) return false;
    *out = (nh_bytes){rest->ptr + 2, n};
    rest->ptr += 2 + n;
    rest->len -= 2 + n;
    return true;
}

bool nh_next_tag(nh_bytes *rest, nh_bytes *tag) { return nh__take16(rest, tag); }

bool nh_parse_open(nh_bytes b, nh_open *o) { /* A4.4 */
    if (b.len < 10 || b.len > 4096) return false;
    o->from = b.ptr[0];
    o->hops = b.ptr[1];
    o->deadline = (int64_t)nh__get(b.ptr + 2, 8);
    b.ptr += 10;
    b.len -= 10;
    return nh__take16(&b, &o->principal) && nh__take16(&b, &o->method) && nh__take16(&b, &o->meta) && b.len == 0 && o->deadline >= 0;
}

bool nh_parse_start(nh_bytes b, nh_start *s) { /* A4.3 */
    if (b.len < 49) return false;
    s->reason = b.ptr[0];
    s->self = b.ptr + 1;
    s->memory = nh__get(b.ptr + 33, 8);
    s->state = nh__get(b.ptr + 41, 8);
    b.ptr += 49;
    b.len -= 49;
    if (!nh__take16(&b, &s->previous) || !nh__take16(&b, &s->entropy) || !nh__take16(&b, &s->secret)) return false;
    nh_bytes tag, rest = b;
    while (nh__take16(&rest, &tag)) {}
    s->grants = b;
    return rest.len == 0;
}

bool nh_parse_peer(nh_bytes b, nh_peer_info *p) { /* A4.5 */
    if (b.len != 44) return false;
    p->node = b.ptr;
    p->rtt = (int64_t)nh__get(b.ptr + 32, 8);
    p->mtu = (uint32_t)nh__get(b.ptr + 40, 4);
    return true;
}

bool nh_parse_state(nh_bytes b, nh_bytes *key, nh_bytes *value) { /* A4.1 */
    if (!nh__take16(&b, key) || key->len == 0 || key->len > NH_MAX_STATE_KEY || b.len > NH_MAX_STATE_VALUE) return false;
    *value = b;
    return true;
}

NH__EXPORT("nethost_abi_1") void nh__abi_1(void) {} /* A6.1 */

NH__EXPORT("nethost_buffer") uint8_t *nh__buffer(uint32_t n) { /* A6.2 */
    nh__need(n <= NH_MAX_BATCH_BYTES);
    return (uint8_t *)nh__in;
}

NH__EXPORT("nethost_handle") uint64_t nh__run(const uint8_t *b, uint32_t len) { /* A6.3 */
    nh__need(b == (const uint8_t *)nh__in && len >= NH__HEADER && len <= NH_MAX_BATCH_BYTES);
    uint64_t head = nh__get(b, 8);
    uint32_t left = (uint32_t)nh__get(b + 8, 4);
    nh__need((head & ~(0xffffull << 32)) == 0x3142484eull && nh__get(b + 12, 4) == len); /* A1.1, A1.3, A1.5 */
    nh__need(left <= NH_MAX_BATCH_EVENTS);                                               /* A5.1 */
    uint64_t seq = nh__get(b + 16, 8), at = NH__HEADER;
    nh__now = (int64_t)nh__get(b + 24, 8);
    nh__wall = (int64_t)nh__get(b + 32, 8);
    nh__len = NH__HEADER;
    nh__count = 0;
    for (; left > 0; left--) {
        nh__need(at + NH__RECORD <= len); /* A2.3 */
        const uint8_t *r = b + at;
        uint64_t n = nh__get(r + 4, 4), from = at + NH__RECORD;
        at = from + ((n + 7) & ~7ull);
        nh__need(at <= len);
        for (uint64_t i = from + n; i < at; i++) nh__need(b[i] == 0); /* A2.2 */
        nh_event ev = {(uint16_t)nh__get(r, 2), (uint16_t)nh__get(r + 2, 2), (nh_peer)nh__get(r + 8, 4), (nh_id)nh__get(r + 12, 2),
                       r[14], r[15], nh__get(r + 16, 8), nh__get(r + 24, 8), {b + from, (size_t)n}};
        nh__backpressure(&ev);
        nh_handle(&ev);
    }
    nh__need(at == len); /* A1.4 */
    if (nh__count == 0) return 0;
    uint8_t *h = (uint8_t *)nh__out;
    nh__set(h, 0x3142484eull, 8);
    nh__set(h + 8, nh__count | (uint64_t)nh__len << 32, 8);
    nh__set(h + 16, seq, 8); /* A1.6 */
    nh__set(h + 24, 0, 8);
    nh__set(h + 32, 0, 8);
    return (uint64_t)(uintptr_t)h << 32 | nh__len;
}

#ifdef __cplusplus
}
#endif
#endif /* NETHOST_IMPLEMENTED */
#endif /* NETHOST_IMPLEMENTATION */
