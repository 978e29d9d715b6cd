import MartletLDAP
import Testing

@Suite("LDAP messages")
struct LDAPMessageTests {
    @Test("differ by their controls")
    func controls() {
        let plain = LDAPMessage(1, .unbindRequest)
        #expect(plain != LDAPMessage(1, .unbindRequest, controls: [LDAPControl("1.2.3")]))
    }
}
