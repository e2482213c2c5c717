package relay

// Check reports all faults of the rules; open tells that Config.Identity is nil.
func (r Rules) Check(open bool) error {
	_, err := compile(r, open)
	return err
}
