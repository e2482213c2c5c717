package rest

import _ "embed"

// Description is the interface in the form of OpenAPI 3.1.
//
//go:embed openapi.json
var description []byte

func openAPI(*request) (*answer, *problem) {
	return &answer{status: 200, kind: kindJSON, body: description}, nil
}
