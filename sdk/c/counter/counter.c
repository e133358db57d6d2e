/* counter, subprotocol 0x1001: a number that peers and applications add to, kept
 * across restarts. The same module as subprotocols/wasm/counter.
 *
 * Every call is one stream: open with a method, data, FIN; the answer is a decimal
 * number. "get" (or no method) answers the value, "add" adds the number in the
 * data, "messages" answers how many messages arrived. */
#include <stdlib.h>

#define NETHOST_IMPLEMENTATION
#include "nethost.h"

#define MAX_ARGUMENT 32 /* a signed 64-bit number and a newline */
#define MAX_CALLS 4096

enum method { GET, ADD, MESSAGES };

typedef struct call {
    struct call *next;
    nh_ref ref;
    enum method method;
    size_t len;
    uint8_t data[MAX_ARGUMENT];
} call;

static call *calls;
static size_t open_calls;
static int64_t value, messages;
static bool changed, kept;

static call **find(nh_ref ref) {
    call **c = &calls;
    while (*c && (*c)->ref != ref) c = &(*c)->next;
    return c;
}

static void forget(nh_ref ref) {
    call **c = find(ref), *gone = *c;
    if (!gone) return;
    *c = gone->next;
    free(gone);
    open_calls--;
}

static void refuse(nh_ref ref, uint32_t code, nh_bytes why) {
    forget(ref);
    nh_reset(ref, code, why);
}

static bool parse(nh_bytes b, int64_t *out) {
    while (b.len > 0 && (b.ptr[b.len - 1] == '\n' || b.ptr[b.len - 1] == '\r')) b.len--; /* a shell's echo leaves one */
    bool minus = b.len > 0 && b.ptr[0] == '-';
    size_t i = b.len > 0 && (minus || b.ptr[0] == '+');
    int64_t n = 0;
    if (i == b.len) return false;
    for (; i < b.len; i++) {
        if (b.ptr[i] < '0' || b.ptr[i] > '9') return false;
        int digit = b.ptr[i] - '0';
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, minus ? -digit : digit, &n)) return false;
    }
    *out = n;
    return true;
}

static nh_bytes decimal(int64_t n, uint8_t buf[20]) {
    uint64_t u = n < 0 ? -(uint64_t)n : (uint64_t)n;
    size_t at = 20;
    do buf[--at] = (uint8_t)('0' + u % 10);
    while (u /= 10);
    if (n < 0) buf[--at] = '-';
    return (nh_bytes){buf + at, 20 - at};
}

static void restore(nh_bytes entry) {
    nh_bytes key, val;
    int64_t n;
    if (!nh_parse_state(entry, &key, &val) || !parse(val, &n)) {
        nh_log(NH_WARN, NH_TEXT("a state entry is not a number: starting it from 0"));
    } else if (nh_same(key, NH_TEXT("value"))) {
        value = n;
    } else if (nh_same(key, NH_TEXT("messages"))) {
        messages = n;
    }
}

static void opened(const nh_event *ev) {
    nh_open o;
    enum method m = GET;
    if (!nh_parse_open(ev->data, &o)) {
        nh_reset(ev->ref, NH_INVALID_ARGUMENT, NH_TEXT("malformed open"));
        return;
    }
    if (nh_same(o.method, NH_TEXT("add"))) {
        m = ADD;
    } else if (nh_same(o.method, NH_TEXT("messages"))) {
        m = MESSAGES;
    } else if (o.method.len > 0 && !nh_same(o.method, NH_TEXT("get"))) {
        nh_reset(ev->ref, NH_UNIMPLEMENTED, NH_TEXT("counter has the methods get, add and messages"));
        return;
    }
    call *c = open_calls < MAX_CALLS ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        nh_reset(ev->ref, NH_OVERLOADED, NH_TEXT("too many calls at once: try again later"));
        return;
    }
    c->ref = ev->ref;
    c->method = m;
    c->next = calls;
    calls = c;
    open_calls++;
}

static void data(const nh_event *ev) {
    call *c = *find(ev->ref);
    uint8_t buf[20];
    if (!c) return;
    if (c->len + ev->data.len > MAX_ARGUMENT) {
        refuse(ev->ref, NH_INVALID_ARGUMENT, NH_TEXT("more than 32 bytes of data: want one decimal number"));
        return;
    }
    for (size_t i = 0; i < ev->data.len; i++) c->data[c->len++] = ev->data.ptr[i];
    if (!nh_fin(ev)) return;
    int64_t answer = c->method == MESSAGES ? messages : value, n;
    if (c->method == ADD) {
        if (!parse((nh_bytes){c->data, c->len}, &n)) {
            refuse(ev->ref, NH_INVALID_ARGUMENT, NH_TEXT("not a decimal number of 64 bits"));
            return;
        }
        if (__builtin_add_overflow(value, n, &answer)) {
            refuse(ev->ref, NH_INVALID_ARGUMENT, NH_TEXT("the sum does not fit 64 bits"));
            return;
        }
        value = answer;
        changed = true;
    }
    forget(ev->ref);
    nh_write(ev->ref, decimal(answer, buf), true);
}

void nh_handle(const nh_event *ev) {
    nh_start s;
    uint8_t buf[20];
    switch (ev->kind) {
    case NH_EV_STATE: restore(ev->data); break;
    case NH_EV_START: kept = nh_parse_start(ev->data, &s) && s.state > 0; break;
    case NH_EV_MESSAGE:
        messages++;
        changed = true;
        nh_count(NH_TEXT("messages"), 1);
        break;
    case NH_EV_STREAM_OPEN: opened(ev); break;
    case NH_EV_STREAM_DATA: data(ev); break;
    case NH_EV_STREAM_RESET: forget(ev->ref); break;
    case NH_EV_DRAIN: nh_drained(); break;
    case NH_EV_FLUSH:
        if (kept && changed) {
            nh_put(NH_TEXT("value"), decimal(value, buf));
            nh_put(NH_TEXT("messages"), decimal(messages, buf));
        }
        changed = false;
        break;
    }
}
