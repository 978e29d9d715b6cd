package import MartletCore
package import MartletXMPP

/// Where the presence comes from that directory clients are shown.
package protocol PresenceSource: Sendable {
    /// What `viewer` may see of each of `targets`, in their order; `nil` for nothing.
    func presence(of targets: [BareJID], for viewer: PresenceViewer) async -> [PresenceSummary?]
    /// All whose presence `viewer` may see, or those of them who are there.
    func visible(to viewer: PresenceViewer, online: Bool) async throws(PresenceView.Failure) -> [(address: BareJID, presence: PresenceSummary)]
}

extension PresenceView: PresenceSource {}
