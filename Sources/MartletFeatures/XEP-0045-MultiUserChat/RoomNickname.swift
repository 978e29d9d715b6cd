import MartletXMPP

/// Nicknames are resourceparts (§4.1). Two that look alike are the same (RFC 8266 §2.4): whoever is here is not impersonated by capitals
/// or spaces.
package enum RoomNickname {
    /// What two nicknames are compared by: without regard to case, width, compatibility and spaces; empty for one of spaces only. What is no
    /// nickname otherwise is compared as it is.
    package static func folded(_ nickname: String) -> String {
        if let folded = try? PRECIS.nicknameForComparison(nickname) { return folded }
        return nickname.allSatisfy(\.isWhitespace) ? "" : nickname
    }
}
