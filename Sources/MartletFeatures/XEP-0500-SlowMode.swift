import MartletXMPP

/// When accounts last said something in a room where there is a time between two messages (§4). It is of accounts: whoever leaves and enters
/// again, or under another name, is no faster.
struct SlowMode: Sendable {
    /// Milliseconds since 1970.
    private var lastMessages: [BareJID: Int64] = [:]
    /// From here on those are forgotten whose time is over.
    private static let rememberedMax = 1_024

    func last(of account: BareJID) -> Int64? { lastMessages.isEmpty ? nil : lastMessages[account] }

    mutating func note(_ account: BareJID, _ now: Int64, seconds: Int) {
        if lastMessages.count >= Self.rememberedMax { lastMessages = lastMessages.filter { now - $0.value < Int64(seconds) * 1_000 } }
        lastMessages[account] = now
    }
}
