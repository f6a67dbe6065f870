package wire

// ErrorMessage is what the body of a failure says, in the words of OIP (error) or of MLflow
// (message); "" if it says nothing that can be read.
func ErrorMessage(body string) string {
	s := &scanner{text: body, bare: true}
	message := ""
	for more := s.open('{', '}'); more; more = s.next('}') {
		switch s.name() {
		case "error", "message", "detail":
			if cell := s.value(); kindOf(cell) == text && message == "" {
				message = unquote(cell)
			}
		default:
			s.value()
		}
	}
	if s.err != nil {
		return ""
	}
	return message
}
