package mlflow

import (
	"fmt"
	"math/rand/v2"
)

// The words of the names that runs are given who have none. Any two go together.
var (
	adjectives = []string{
		"able", "agile", "amber", "ample", "apt", "bold", "brave", "bright", "brisk", "calm", "candid", "clear", "clever", "cosy", "crisp",
		"dapper", "deft", "eager", "early", "fair", "fine", "fleet", "fond", "frank", "fresh", "gentle", "glad", "grand", "handy", "hardy",
		"honest", "humble", "jolly", "keen", "kind", "light", "lively", "loyal", "lucid", "lucky", "mellow", "merry", "mild", "neat", "nimble",
		"noble", "patient", "placid", "plucky", "polite", "proud", "quick", "quiet", "rapid", "rare", "ready", "robust", "serene", "sharp",
		"silent", "sincere", "sleek", "smooth", "sober", "spry", "stately", "steady", "stout", "subtle", "sunny", "swift", "tidy", "upbeat",
		"useful", "valiant", "vivid", "warm", "wise", "witty", "zesty",
	}
	nouns = []string{
		"auk", "badger", "bat", "bee", "bison", "boar", "calf", "carp", "cat", "chick", "chimp", "cod", "colt", "conch", "cow", "crab", "crane",
		"crow", "cub", "deer", "doe", "dolphin", "dove", "duck", "eel", "elk", "fawn", "finch", "fish", "flea", "foal", "fowl", "fox", "frog",
		"gnat", "goat", "goose", "grouse", "grub", "gull", "hare", "hawk", "hen", "heron", "hog", "horse", "hound", "jay", "kit", "kite", "koi",
		"lamb", "lark", "loon", "lynx", "mare", "midge", "mink", "mole", "moose", "moth", "mouse", "mule", "newt", "owl", "ox", "panda", "perch",
		"pig", "pug", "quail", "ram", "rat", "ray", "robin", "roo", "rook", "seal", "shad", "shark", "sheep", "shoat", "shrew", "shrike", "shrimp",
		"skink", "skunk", "sloth", "slug", "smelt", "snail", "snake", "snipe", "sow", "sponge", "squid", "stag", "steed", "stoat", "stork", "swan",
		"tern", "toad", "trout", "turtle", "vole", "wasp", "whale", "wolf", "worm", "wren", "yak", "zebra",
	}
)

// runName makes a name for a run, such as merry-heron-417.
func runName() string {
	return fmt.Sprintf("%s-%s-%d", adjectives[rand.IntN(len(adjectives))], nouns[rand.IntN(len(nouns))], rand.IntN(1000))
}
