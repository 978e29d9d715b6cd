import MartletXMPP

/// Nicknames are resourceparts (§4.1). Two that look alike are the same (RFC 8266 §2.4): whoever is here is not impersonated by capitals
/// or spaces.
package enum RoomNickname {
    /// What two nicknames are compared by: in lower case, without spaces at the ends, one space where there are several.
    package static func folded(_ nickname: String) -> String {
        // Nearly all are plain.
        if nickname.utf8.allSatisfy({ (0x21...0x7E).contains($0) && !(0x41...0x5A).contains($0) }) { return nickname }
        return nickname.lowercased().split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
}
