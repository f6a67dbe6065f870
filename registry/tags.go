package registry

import "maps"

// proved returns tags as they are kept: see [Options].Tag. The map is not changed, but replaced.
func (r *Registry) proved(tags map[string]string) (map[string]string, error) {
	if r.tag == nil {
		return tags, nil
	}
	kept, copied := tags, false
	for key, value := range tags {
		keep, err := r.tag(key, value)
		if err != nil {
			return nil, err
		}
		if keep == value {
			continue
		}
		if !copied {
			kept, copied = maps.Clone(tags), true
		}
		kept[key] = keep
	}
	return kept, nil
}
