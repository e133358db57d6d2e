// The guest that `nethost bench modules` measures: an echo by ABI 1 without an
// SDK, and five loops that real modules spend their time in. guest.wasm beside
// this file is made of it by
//
//   clang --target=wasm32 -O2 -nostdlib -ffreestanding -mbulk-memory -Wl,--no-entry -Wl,-z,stack-size=65536 -Wl,--strip-all -o guest.wasm guest.c
//
// and a test compares the two where clang is installed.
#define EXPORT(name) __attribute__((export_name(#name)))

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

static _Alignas(8) u8 in[256 << 10], out[1 << 20];

// hash: BLAKE2s compression of 64-byte blocks.

static const u32 iv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
static const u8 sigma[10][16] = {
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
	{11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
	{9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
	{12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
	{6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

static u32 ror(u32 x, int n) { return x >> n | x << (32 - n); }
static u32 rol(u32 x, int n) { return x << n | x >> (32 - n); }

#define G(a, b, c, d, x, y) \
	a += b + x; d = ror(d ^ a, 16); c += d; b = ror(b ^ c, 12); \
	a += b + y; d = ror(d ^ a, 8); c += d; b = ror(b ^ c, 7)

static void compress(u32 h[8], const u32 *m, u64 count, u32 last) {
	u32 v[16];
	for (int i = 0; i < 8; i++) v[i] = h[i], v[i + 8] = iv[i];
	v[12] ^= (u32)count, v[13] ^= (u32)(count >> 32), v[14] ^= last;
	for (int r = 0; r < 10; r++) {
		const u8 *s = sigma[r];
		for (int i = 0; i < 4; i++) { G(v[i], v[4 + i], v[8 + i], v[12 + i], m[s[2 * i]], m[s[2 * i + 1]]); }
		for (int i = 0; i < 4; i++) {
			G(v[i], v[4 + (i + 1) % 4], v[8 + (i + 2) % 4], v[12 + (i + 3) % 4], m[s[8 + 2 * i]], m[s[9 + 2 * i]]);
		}
	}
	for (int i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
}

EXPORT(loop_hash) u64 loop_hash(u32 blocks) {
	u32 h[8];
	for (int i = 0; i < 8; i++) h[i] = iv[i];
	h[0] ^= 0x01010020;
	for (u32 i = 0; i < blocks; i++) compress(h, (const u32 *)(in + (i & 1023) * 64), (u64)(i + 1) * 64, 0);
	return (u64)h[0] << 32 | h[1];
}

// parse: numbers, strings and nesting of a JSON text, byte by byte.

static const char text[] = "{\"id\":12345,\"name\":\"telemetry\",\"on\":true,\"values\":[1.5,-2,3e4,null],\"at\":{\"x\":-7,\"y\":\"a\\\"b\"}}";

EXPORT(loop_parse) u64 loop_parse(u32 times) {
	u64 sum = 0;
	for (u32 t = 0; t < times; t++) {
		int depth = 0;
		for (u32 i = 0; i < sizeof text - 1;) {
			char c = text[i];
			if (c == '"') {
				for (i++; text[i] != '"'; i++) {
					if (text[i] == '\\') i++;
					sum = sum * 31 + (u8)text[i];
				}
				i++;
			} else if (c == '-' || (c >= '0' && c <= '9')) {
				int minus = c == '-';
				u64 n = 0;
				for (i += minus; text[i] >= '0' && text[i] <= '9'; i++) n = n * 10 + (u64)(text[i] - '0');
				sum += minus ? -n : n;
			} else {
				if (c == '{' || c == '[') depth++;
				if (c == '}' || c == ']') depth--;
				i++;
			}
		}
		sum += (u64)depth + t;
	}
	return sum;
}

// aead: ChaCha20 blocks xored over a packet and a Poly1305-like product over it.

#define Q(a, b, c, d) \
	a += b; d = rol(d ^ a, 16); c += d; b = rol(b ^ c, 12); \
	a += b; d = rol(d ^ a, 8); c += d; b = rol(b ^ c, 7)

static void chacha(u32 x[16], u32 counter) {
	u32 s[16];
	for (int i = 0; i < 16; i++) s[i] = iv[i & 7] + (u32)i;
	s[12] = counter;
	for (int i = 0; i < 16; i++) x[i] = s[i];
	for (int r = 0; r < 10; r++) {
		Q(x[0], x[4], x[8], x[12]); Q(x[1], x[5], x[9], x[13]); Q(x[2], x[6], x[10], x[14]); Q(x[3], x[7], x[11], x[15]);
		Q(x[0], x[5], x[10], x[15]); Q(x[1], x[6], x[11], x[12]); Q(x[2], x[7], x[8], x[13]); Q(x[3], x[4], x[9], x[14]);
	}
	for (int i = 0; i < 16; i++) x[i] += s[i];
}

EXPORT(loop_aead) u64 loop_aead(u32 packets) {
	u64 tag = 0;
	for (u32 p = 0; p < packets; p++) {
		u64 a = 1, b = 0; // two limbs of 32 bits, modulo 2^61 - 1 in the end
		for (u32 k = 0; k < 16; k++) {
			u32 x[16];
			chacha(x, p * 16 + k);
			const u32 *from = (const u32 *)(in + k * 64);
			u32 *to = (u32 *)(out + k * 64);
			for (int i = 0; i < 16; i++) {
				to[i] = from[i] ^ x[i];
				a = (a + to[i]) * 0x0ffffffc % 0x1fffffffffffffffull;
				b += a;
			}
		}
		tag ^= a + b;
	}
	return tag;
}

// recursion: Fibonacci by calls.

__attribute__((noinline)) static u64 fib(u32 n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

EXPORT(loop_recursion) u64 loop_recursion(u32 n) { return fib(n); }

// copy: 1 KiB from buffer to buffer in words, and the same by memory.copy.

EXPORT(loop_copy) u64 loop_copy(u32 times) {
	for (u32 t = 0; t < times; t++) {
		volatile u64 *to = (volatile u64 *)(out + (t & 255) * 1024);
		const u64 *from = (const u64 *)(in + (t & 127) * 1024);
		for (int i = 0; i < 128; i++) to[i] = from[i];
		__builtin_memcpy(out + 512 * 1024 + (t & 255) * 1024, in + (t & 63) * 1024, 1024);
	}
	return *(u64 *)out;
}

// The echo. Batches and records are those of sdk/abi/SPEC.md.

enum { HEADER = 40, RECORD = 32, MESSAGE = 20, SEND = 1 };

EXPORT(nethost_abi_1) void marker(void) {}

EXPORT(nethost_buffer) u32 buffer(u32 n) { return n <= sizeof in ? (u32)in : 0; }

EXPORT(nethost_handle) u64 handle(u32 at, u32 len) {
	const u8 *p = (const u8 *)at + HEADER, *end = (const u8 *)at + len;
	u8 *w = out + HEADER;
	u32 n = 0;
	while (p < end) {
		u32 size = *(u32 *)(p + 4), padded = (size + 7) & ~7u;
		if (*(u16 *)p == MESSAGE) {
			// A guest that runs away when it is told to.
			if (size == 4 && *(u32 *)(p + RECORD) == 0x4e495053) for (volatile u32 i = 0;; i++) {}
			*(u32 *)w = SEND, *(u32 *)(w + 4) = size;
			*(u32 *)(w + 8) = *(u32 *)(p + 8), *(u32 *)(w + 12) = *(u16 *)(p + 12);
			*(u64 *)(w + 16) = 0, *(u64 *)(w + 24) = 0;
			__builtin_memcpy(w + RECORD, p + RECORD, padded);
			w += RECORD + padded;
			n++;
		}
		p += RECORD + padded;
	}
	if (n == 0) return 0;
	*(u64 *)out = *(u64 *)at; // magic and minor
	*(u32 *)(out + 8) = n, *(u32 *)(out + 12) = (u32)(w - out);
	*(u64 *)(out + 16) = *(u64 *)((const u8 *)at + 16);
	*(u64 *)(out + 24) = 0, *(u64 *)(out + 32) = 0;
	return (u64)(u32)out << 32 | (u32)(w - out);
}
