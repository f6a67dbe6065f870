package detect

import "math"

const twisterWords = 624

// twister is the Mersenne twister MT19937 as Python's random.Random seeds and reads it,
// which River's KSWIN draws from.
//
// Source: Matsumoto and Nishimura, "Mersenne twister", TOMACS 8 (1998), and its
// initialization by array of 2002.
type twister struct {
	words [twisterWords]uint32
	next  int
}

func newTwister(seed uint32) *twister {
	t := &twister{next: twisterWords}
	w := &t.words
	w[0] = 19650218
	for i := 1; i < twisterWords; i++ {
		w[i] = 1812433253*(w[i-1]^w[i-1]>>30) + uint32(i)
	}
	// The key has one word, so that its index is always 0.
	i := 1
	step := func(multiplier, add uint32) {
		w[i] = (w[i] ^ (w[i-1]^w[i-1]>>30)*multiplier) + add
		if i++; i == twisterWords {
			w[0], i = w[twisterWords-1], 1
		}
	}
	for range twisterWords {
		step(1664525, seed)
	}
	for range twisterWords - 1 {
		step(1566083941, -uint32(i))
	}
	w[0] = 1 << 31
	return t
}

func (t *twister) uint32() uint32 {
	if t.next == twisterWords {
		t.refill()
	}
	y := t.words[t.next]
	t.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (t *twister) refill() {
	for i := range t.words {
		y := t.words[i]&(1<<31) | t.words[(i+1)%twisterWords]&(1<<31-1)
		t.words[i] = t.words[(i+397)%twisterWords] ^ y>>1 ^ y&1*0x9908b0df
	}
	t.next = 0
}

// below returns a number in [0, n), for n ≥ 1.
func (t *twister) below(n int) int {
	bits := uint(math.Ilogb(float64(n))) + 1
	for {
		if r := int(t.uint32() >> (32 - bits)); r < n {
			return r
		}
	}
}

// sample draws k distinct numbers of [0, n), in the order in which Python's sample does.
func (t *twister) sample(n, k int) []int {
	drawn := make([]int, k)
	few := 21
	if k > 5 {
		few += int(math.Pow(4, math.Ceil(math.Log(3*float64(k))/math.Log(4))))
	}
	if n > few {
		taken := make(map[int]bool, k)
		for i := range drawn {
			j := t.below(n)
			for taken[j] {
				j = t.below(n)
			}
			drawn[i], taken[j] = j, true
		}
		return drawn
	}
	pool := make([]int, n)
	for i := range pool {
		pool[i] = i
	}
	for i := range drawn {
		j := t.below(n - i)
		drawn[i], pool[j] = pool[j], pool[n-i-1]
	}
	return drawn
}
