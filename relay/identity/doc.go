// Package identity says who the user of a socket is: by a JSON Web Token ([JWT]), or by a function of the application
// ([Func]), such as one that looks into the session of an HTTP request.
//
// Signatures are HS256, RS256, ES256 or EdDSA. Which one a key is for is a property of the key, never of the token, and
// nothing in a token leads to a key but its kid. Keys come from the configuration, or from a file with PEM or a JWKS, which
// is read again when it has changed, or from a URL of the configuration.
//
// Not in this package: what a user may do, and the end of a connection whose token has expired (package relay).
package identity
