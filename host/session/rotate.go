package session

// SetLocal admits to l, and to l.Second, from now on. What is known of sources and
// of messages seen stays.
func (a *Admission) SetLocal(l *Local) {
	for i := range a.doors {
		a.doors[i] = door{}
		if l != nil {
			a.doors[i] = door{l, newKeyedMAC(&l.macAny), newKeyedMAC(&l.macOwn)}
			l = l.second
		}
	}
}

// Under reports whether the session was made under the pre-shared key of l.
func (s *Session) Under(l *Local) bool { return s.under.psk == l.psk }
