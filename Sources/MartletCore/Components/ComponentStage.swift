package import MartletXMPP

/// What a component may do besides sending from its own addresses, if the operator lets it (XEP-0355, XEP-0356).
package protocol ComponentStage: Feature {
    /// A component has connected, or may do something else than before. On its loop.
    func greet(_ session: ComponentSession)
    /// Takes a stanza of a component that is not to be routed as others are; `nil` for those that are. On its loop, with no lock held.
    func take(_ stanza: Stanza, to: JID, of session: ComponentSession, _ completion: Completion) -> Progress?
}
