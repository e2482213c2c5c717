package rest

// CheckTokens reports all faults of tokens.
func CheckTokens(all []Token) error {
	_, err := checkTokens(all)
	return err
}
