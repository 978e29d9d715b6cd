extension BareJID {
    /// The domainpart as DNS and certificates have it: labels outside ASCII as A-labels (RFC 5890 §2.3.2.1).
    package var asciiDomainpart: String {
        domainpart.split(separator: ".", omittingEmptySubsequences: false).map { label in
            guard !label.utf8.allSatisfy({ $0 < 0x80 }) else { return String(label) }
            return "xn--" + String(decoding: Punycode.encode(Array(label.unicodeScalars)), as: UTF8.self)
        }.joined(separator: ".")
    }
}
