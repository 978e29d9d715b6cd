import MartletDirectory
import MartletLDAP
import Testing

@Suite("Where a server of the directory is")
struct DirectoryAddressTests {
    static let addresses: [(String, DirectoryAddress)] = [
        ("ldap://ldap.example.org", .plain(host: "ldap.example.org", port: 389)),
        ("ldap://ldap.example.org:1389/dc=example,dc=org", .plain(host: "ldap.example.org", port: 1_389)),
        ("ldaps://ldap.example.org", .secure(host: "ldap.example.org", port: 636)),
        ("ldaps://[::1]:1636", .secure(host: "::1", port: 1_636)),
        ("ldapi://%2Frun%2Fslapd%2Fldapi", .local(path: "/run/slapd/ldapi")),
    ]

    @Test("a URL says it (RFC 4516), with the usual ports where it names none", arguments: addresses)
    func urls(_ text: String, _ address: DirectoryAddress) throws { #expect(try DirectoryAddress(LDAPURL(text)) == address) }

    @Test("a URL without a host says nothing", arguments: ["ldap:///dc=example,dc=org", "ldaps:///"])
    func nowhere(_ text: String) throws { #expect(try DirectoryAddress(LDAPURL(text)) == nil) }

    @Test("it is told as it is written", arguments: ["ldap://ldap.example.org:389", "ldaps://[::1]:636", "ldapi://%2Frun%2Fldapi"])
    func described(_ text: String) throws { #expect(try #require(DirectoryAddress(LDAPURL(text))).description == text) }
}
