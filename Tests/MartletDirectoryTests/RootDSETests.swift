import MartletDirectory
import MartletLDAP
import Testing

@Suite("What a server says of itself")
struct RootDSETests {
    @Test("its lists are read whatever the case of their names (RFC 4512 §5.1)")
    func lists() {
        let root = RootDSE(
            LDAPEntry(
                "",
                [
                    LDAPAttribute("supportedcontrol", strings: ["1.2.840.113556.1.4.319", "1.3.6.1.4.1.4203.1.9.1.1"]),
                    LDAPAttribute("supportedExtension", "1.3.6.1.4.1.1466.20037"), LDAPAttribute("namingContexts", "dc=example,dc=org"),
                    LDAPAttribute("supportedSASLMechanisms", strings: ["EXTERNAL", "SCRAM-SHA-256"]), LDAPAttribute("vendorName", "389 Project"),
                ]))
        #expect(root.controls == ["1.2.840.113556.1.4.319", "1.3.6.1.4.1.4203.1.9.1.1"])
        #expect(root.extensions == ["1.3.6.1.4.1.1466.20037"] && root.mechanisms == ["EXTERNAL", "SCRAM-SHA-256"])
        #expect(root.namingContexts == ["dc=example,dc=org"] && root.vendorName == "389 Project" && !root.isActiveDirectory)
    }

    @Test("Active Directory says that it is that")
    func activeDirectory() {
        #expect(RootDSE(LDAPEntry("", [LDAPAttribute("supportedCapabilities", "1.2.840.113556.1.4.800")])).isActiveDirectory)
    }
}
