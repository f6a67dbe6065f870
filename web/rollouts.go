package web

import "net/http"

// route answers with the route of a model, or, for a key, with who answers its requests.
func (s *Server) route(r *http.Request) (any, error) {
	if query := r.URL.Query(); query.Has("key") {
		return s.engine.RouteOf(modelOf(r), query.Get("key"))
	}
	router, err := s.engine.Router(modelOf(r))
	if err != nil {
		return nil, err
	}
	return router.Route(), nil
}
