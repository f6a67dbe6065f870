package detect

import (
	"math"
	"math/rand/v2"
	"slices"
)

// The streams below are those of River's generators (river.datasets.synth, 0.26), but for
// Circles, which River does not have: attributes, labels and noise are drawn as there. As
// with [SEA], each is the errors of a model that knows what it learned as well as it can be
// known, and meets something else.

// Agrawal is about loans: nine attributes of a person, which one of ten functions, from 0
// on, makes into a class. Source: Agrawal, Imielinski and Swami, IEEE TKDE 5 (1993).
func Agrawal(learned, function int, noise float64) Concept {
	return mistakes(noise, func(random *rand.Rand) (model, truth bool) {
		p := drawPerson(random)
		return agrawalFunctions[learned](p), agrawalFunctions[function](p)
	})
}

type person struct {
	salary, commission, age, houseValue, houseYears, loan float64
	education                                             int
}

func drawPerson(random *rand.Rand) person {
	p := person{salary: 20_000 + 130_000*random.Float64(), age: float64(20 + random.IntN(61)), education: random.IntN(5),
		houseYears: float64(1 + random.IntN(30)), loan: 500_000 * random.Float64()}
	if p.salary < 75_000 {
		p.commission = 10_000 + 75_000*random.Float64()
	}
	zip := random.IntN(9)
	p.houseValue = float64(9-zip) * 100_000 * (0.5 + random.Float64())
	return p
}

func within(x, low, high float64) bool { return low <= x && x <= high }

// byAge chooses one of three by age.
func byAge[T any](p person, young, middle, old T) T {
	switch {
	case p.age < 40:
		return young
	case p.age < 60:
		return middle
	}
	return old
}

var agrawalFunctions = [10]func(person) bool{
	func(p person) bool { return p.age < 40 || p.age >= 60 },
	func(p person) bool { return byIncome(p, p.salary) },
	func(p person) bool {
		return slices.Contains(byAge(p, []int{0, 1}, []int{1, 2, 3}, []int{2, 3, 4}), p.education)
	},
	func(p person) bool {
		usual := slices.Contains(byAge(p, []int{2, 3, 4}, []int{1, 2, 3}, []int{2, 3, 4}), p.education)
		switch {
		case usual:
			return within(p.salary, 50_000, 100_000)
		case byAge(p, false, true, false):
			return within(p.salary, 75_000, 125_000)
		}
		return within(p.salary, 25_000, 75_000)
	},
	func(p person) bool {
		income := byIncome(p, p.salary)
		switch {
		case p.age < 40 && income:
			return within(p.loan, 100_000, 300_000)
		case p.age < 40:
			return within(p.salary, 200_000, 400_000)
		case p.age < 60 && income:
			return p.salary >= 200_000 && p.loan <= 400_000
		case p.age < 60:
			return within(p.salary, 300_000, 500_000)
		case income:
			return within(p.loan, 300_000, 500_000)
		}
		return within(p.loan, 75_000, 300_000)
	},
	func(p person) bool { return byIncome(p, p.salary+p.commission) },
	func(p person) bool { return p.disposable()-p.loan/5-20_000 <= 1 },
	func(p person) bool { return p.disposable()-5000*float64(p.education)-20_000 <= 1 },
	func(p person) bool { return p.disposable()-5000*float64(p.education)-p.loan/5-10_000 <= 1 },
	func(p person) bool {
		equity := p.houseValue * max(0, p.houseYears-20) / 10
		return p.disposable()-5000*float64(p.education)+equity/5-10_000 <= 1
	},
}

// byIncome is whether an income is the usual one for an age.
func byIncome(p person, income float64) bool {
	low := byAge(p, 50_000.0, 75_000, 25_000)
	return within(income, low, low+50_000)
}

func (p person) disposable() float64 { return 2 * (p.salary + p.commission) / 3 }

// modelSeed draws what a generator has once, such as centroids: the same in every stream.
const modelSeed = 0xD0

// Hyperplane labels ten values, uniform in [0, 1], by the side of a plane that they lie
// on. The first two of its weights have moved since it was learned. Source: Hulten, Spencer
// and Domingos, KDD 2001.
func Hyperplane(moved, noise float64) Concept {
	random := rand.New(rand.NewPCG(modelSeed, 1))
	weights := make([]float64, 10)
	for i := range weights {
		weights[i] = random.Float64()
	}
	return mistakes(noise, func(random *rand.Rand) (model, truth bool) {
		side, now := 0.0, 0.0
		for i, w := range weights {
			x := random.Float64() - 0.5
			side += w * x
			if now += w * x; i < 2 {
				now += moved * x
			}
		}
		return side >= 0, now >= 0
	})
}

// ledDigits are the seven segments of each digit, the first in the highest bit.
var ledDigits = [10]uint8{0b1110111, 0b0010010, 0b1011101, 0b1011011, 0b0111010, 0b1101011, 0b1101111, 0b1010010, 0b1111111, 0b1111011}

// LED shows digits, each of whose seven segments is wrong with probability noise. So many
// of them have traded places with lamps that mean nothing since the model learned which
// digit is likeliest. Source: Breiman and others, CART, 1984; drift as in MOA.
func LED(swapped int, noise float64) Concept {
	meaningless := uint8(1<<swapped - 1)
	return func(random *rand.Rand) float64 {
		digit := random.IntN(len(ledDigits))
		seen := ledDigits[digit]
		for i := range 7 {
			if random.Float64() < noise {
				seen ^= 1 << i
			}
		}
		seen = seen&^meaningless | uint8(random.IntN(1<<7))&meaningless
		return wrong(likeliestDigit[seen] != digit)
	}
}

// likeliestDigit is the digit with the fewest segments that differ; the first of several.
var likeliestDigit = func() (digits [1 << 7]int) {
	for seen := range digits {
		least := 8
		for digit, segments := range ledDigits {
			differ := 0
			for rest := uint8(seen) ^ segments; rest != 0; rest &= rest - 1 {
				differ++
			}
			if differ < least {
				least, digits[seen] = differ, digit
			}
		}
	}
	return digits
}()

func wrong(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// RBF draws points in ten dimensions around 50 centroids of two classes. Each centroid has
// moved so far, within the unit cube, since the model learned which class is likeliest where.
// Source: Kirkby, thesis, 2007 (MOA's RandomRBF).
func RBF(moved float64) Concept {
	random := rand.New(rand.NewPCG(modelSeed, 2))
	learned := make([]centroid, 50)
	for i := range learned {
		learned[i] = drawCentroid(random)
	}
	now := slices.Clone(learned)
	total := 0.0
	for i := range now {
		now[i].move(moved, random)
		total += now[i].weight
	}
	return func(random *rand.Rand) float64 {
		at, which := random.Float64()*total, 0
		for at > now[which].weight && which < len(now)-1 {
			at -= now[which].weight
			which++
		}
		point := now[which].draw(random)
		evidence := [2]float64{}
		for i := range learned {
			evidence[learned[i].class] += learned[i].density(point)
		}
		likeliest := 0
		if evidence[1] > evidence[0] {
			likeliest = 1
		}
		return wrong(likeliest != now[which].class)
	}
}

const rbfFeatures = 10

type centroid struct {
	center            [rbfFeatures]float64
	class             int
	deviation, weight float64
}

func drawCentroid(random *rand.Rand) (c centroid) {
	for i := range c.center {
		c.center[i] = random.Float64()
	}
	c.class, c.deviation, c.weight = random.IntN(2), random.Float64(), random.Float64()
	return c
}

// move goes in a direction of positive parts, as River's does, and comes back at the walls.
func (c *centroid) move(distance float64, random *rand.Rand) {
	var direction [rbfFeatures]float64
	length := 0.0
	for i := range direction {
		direction[i] = random.Float64()
		length += direction[i] * direction[i]
	}
	for i, d := range direction {
		if c.center[i] += distance * d / math.Sqrt(length); c.center[i] > 1 {
			c.center[i] = 2 - c.center[i]
		}
	}
}

// draw goes a normally distributed length in a random direction.
func (c *centroid) draw(random *rand.Rand) (point [rbfFeatures]float64) {
	length := 0.0
	for i := range point {
		point[i] = 2*random.Float64() - 1
		length += point[i] * point[i]
	}
	scale := c.deviation * random.NormFloat64() / math.Sqrt(length)
	for i := range point {
		point[i] = c.center[i] + scale*point[i]
	}
	return point
}

// density is that of draw but for a factor, as if directions were spread evenly.
func (c *centroid) density(point [rbfFeatures]float64) float64 {
	squares := 0.0
	for i, x := range point {
		squares += (x - c.center[i]) * (x - c.center[i])
	}
	return c.weight * math.Exp(-squares/(2*c.deviation*c.deviation)) / (c.deviation * math.Pow(squares, (rbfFeatures-1)/2.0))
}

// Mixed has two attributes that are true or not and two numbers; its label is the reverse
// of what was learned if reversed is set. Source: Gama and others, SBIA 2004.
func Mixed(reversed bool, noise float64) Concept {
	return mistakes(noise, func(random *rand.Rand) (model, truth bool) {
		v, w := random.IntN(2) == 0, random.IntN(2) == 0
		x, y := random.Float64(), random.Float64()
		z := y < 0.5+0.3*math.Sin(3*math.Pi*x)
		model = v && w || v && z || w && z
		return model, model != reversed
	})
}

// Circles labels points of the unit square by whether they lie in a circle, one of four from
// 0 on. Source: Gama and others, SBIA 2004; the circles are those of Pesaranghader's Tornado.
func Circles(learned, circle int, noise float64) Concept {
	in := func(which int, x, y float64) bool {
		center, radius := 0.2+0.2*float64(which), 0.15+0.05*float64(which)
		return (x-center)*(x-center)+(y-0.5)*(y-0.5) <= radius*radius
	}
	return mistakes(noise, func(random *rand.Rand) (model, truth bool) {
		x, y := random.Float64(), random.Float64()
		return in(learned, x, y), in(circle, x, y)
	})
}

// Waveform mixes two of three waves, in 21 points with normal noise, and asks which two.
// So many points have traded places with ones that mean nothing since the model learned
// which two are likeliest. Source: Breiman and others, CART, 1984; drift as in MOA.
func Waveform(swapped int) Concept {
	return func(random *rand.Rand) float64 {
		class, share := random.IntN(3), random.Float64()
		var x [wavePoints]float64
		a, b := waveOf(class)
		for i := range x {
			if x[i] = random.NormFloat64(); i >= swapped {
				x[i] += share*waves[a][i] + (1-share)*waves[b][i]
			}
		}
		best, likeliest := math.Inf(-1), 0
		for candidate := range 3 {
			if l := waveLikelihood(candidate, &x); l > best {
				best, likeliest = l, candidate
			}
		}
		return wrong(likeliest != class)
	}
}

const wavePoints = 21

// waves are three triangles of height 6.
var waves = func() (w [3][wavePoints]float64) {
	for k, peak := range []int{6, 14, 10} {
		for i := range w[k] {
			w[k][i] = max(0, 6-math.Abs(float64(i-peak)))
		}
	}
	return w
}()

// waveOf is which waves a class mixes.
func waveOf(class int) (a, b int) {
	return []int{0, 0, 1}[class], []int{1, 2, 2}[class]
}

// waveLikelihood is the logarithm of the density of x, but for a constant: the integral
// over the share in which the waves are mixed.
func waveLikelihood(class int, x *[wavePoints]float64) float64 {
	a, b := waveOf(class)
	squares, along, length := 0.0, 0.0, 0.0
	for i, v := range x {
		rest, step := v-waves[b][i], waves[a][i]-waves[b][i]
		squares += rest * rest
		along += rest * step
		length += step * step
	}
	at, scale := along/length, math.Sqrt(length/2)
	mass := math.Erf((1-at)*scale) + math.Erf(at*scale)
	return at*along/2 - squares/2 + math.Log(mass/scale)
}
