package rest

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds the nesting of a body, as that of packets of clients.
const maxDepth = 64

// body reads the body of a request.
func (r *request) body() ([]byte, *problem) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || kind != kindJSON || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, newProblem("unsupported_media_type", "")
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, newProblem("unsupported_media_type", "the body must not be compressed")
	}
	b, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, newProblem("body_too_large", "at most "+strconv.FormatInt(large.Limit, 10)+" bytes")
	case err != nil:
		return nil, newProblem("invalid_json", "the body ended early, or took too long")
	}
	return b, nil
}

// decode reads JSON strictly: names that are not known or there twice are errors, and so are bytes that are no UTF-8.
func decode(b []byte, v any) *problem {
	if !shallow(b) {
		return newProblem("invalid_json", "nested more than "+strconv.Itoa(maxDepth)+" deep")
	}
	err := json.Unmarshal(b, v, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	if meaning, ok := errors.AsType[*json.SemanticError](err); ok {
		return invalid(string(meaning.JSONPointer), explain(meaning))
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		detail := "not JSON at byte " + strconv.FormatInt(syntax.ByteOffset, 10)
		if errors.Is(err, jsontext.ErrDuplicateName) {
			detail = "a name is there twice"
		}
		return newProblem("invalid_json", detail, fault{Pointer: string(syntax.JSONPointer), Detail: detail})
	}
	return newProblem("invalid_json", "the body is empty, or ends early")
}

func explain(e *json.SemanticError) string {
	if errors.Is(e, json.ErrUnknownName) {
		return "there is no such field"
	}
	what := "of another type"
	if e.GoType != nil {
		switch e.GoType.String() {
		case "string":
			what = "a string"
		case "bool":
			what = "true or false"
		case "int":
			what = "an integer"
		case "[]string":
			what = "a list of strings"
		case "[]jsontext.Value":
			what = "a list"
		default:
			what = "an object"
		}
	}
	return "it must be " + what
}

// shallow tells whether arrays and objects are not nested too deeply.
func shallow(b []byte) bool {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			if depth++; depth > maxDepth {
				return false
			}
		case ']', '}':
			depth--
		}
	}
	return true
}
