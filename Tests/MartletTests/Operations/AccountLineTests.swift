import Testing

import martlet

@Suite("What is told of accounts")
struct AccountLineTests {
    private static func text(expires: Int64?, isExpired: Bool = false, isEnabled: Bool = true) -> String {
        AccountLine(
            address: "juliet@capulet.example", isEnabled: isEnabled, isAdmin: false, created: 0, lastActivity: nil, passwordExpires: expires,
            isPasswordExpired: isExpired
        ).text
    }

    @Test("an account says in the list when its password expires or has expired, where passwords have an end")
    func expiry() {
        #expect(Self.text(expires: nil) == "juliet@capulet.example")
        #expect(Self.text(expires: 86_400_000) == "juliet@capulet.example  (password expires 1970-01-02)")
        #expect(Self.text(expires: 86_400_000, isExpired: true, isEnabled: false) == "juliet@capulet.example  (disabled, password expired 1970-01-02)")
    }
}
