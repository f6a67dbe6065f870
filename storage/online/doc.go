// Package online keeps the newest row of each entity in each view, packed so
// that one pass over neighbouring keys answers a request for many views.
//
// The rows of one entity lie side by side: views with the same join keys share
// the front of the key, and the view's name comes last.
//
//	key   ┌─────┬─────────────────────────┬────────────────────┬──────────┐
//	      │ 'o' │ join keys               │ entity key values  │ view     │
//	      │     │ "origin:string,no:int64"│ one element each   │ "weather"│
//	      └─────┴─────────────────────────┴────────────────────┴──────────┘
//	        1 B   string                    string, bytes as     string
//	                                        such; ints and times
//	                                        int64; floats float64;
//	                                        bool
//
//	value ┌─────────┬─────────┬──────────┬────────┬───────┬─────────┬───────┐
//	      │ event   │ created │ sequence │ layout │ nulls │ slots   │ texts │
//	      │ 8 B     │ 8 B     │ 8 B      │ 8 B    │ ⌈n/8⌉ │ 1–8 B   │       │
//	      └─────────┴─────────┴──────────┴────────┴───────┴─────────┴───────┘
//	       big-endian, sign bit flipped              little-endian
//
// Keys are tuples of package kv. The first 24 bytes of a value sort as (event
// time, created time, write sequence), null created lowest, so that "the greatest
// value wins", which is what [kv.Batch.Max] does, means "the newest row wins".
// An older row never replaces a newer one, in whatever order, and however often,
// rows are written.
//
// After the header come the features. In nulls, bit i%8 of byte i/8 is set where
// feature i is null; its slot is then zero. A slot holds
//
//	bool                       1 byte   0, 1
//	int32, float32             4 bytes
//	int64, float64, timestamp  8 bytes
//	string, bytes              4 bytes  where its text ends within texts
//
// Floats keep their bits. Which features, of which types, is said by the layout:
// the first 8 bytes of the SHA-256 of its JSON, which is stored once.
//
//	key   'L' │ layout, 8 B, big-endian
//	value [{"name":"temp","type":"float64"},{"name":"precip","type":"float64"}]
//
// or, for rows that were written to this store only, {"online_only":[…]}.
//
// So rows that were written before a feature was added stay readable, and read
// null for it.
//
// Rows that are older than their view's TTL are removed now and then, see [Store.Expire].
//
// Float keys are equal as SQL says: -0 is 0, and every NaN is the same entity.
package online
