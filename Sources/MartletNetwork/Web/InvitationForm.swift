package import NIOCore

/// What was filled in at an invitation's page. Pure.
package struct InvitationForm: Hashable, Sendable {
    package let name: String
    package let password: String
    package let again: String

    /// Reads `application/x-www-form-urlencoded`.
    package init?(_ body: ByteBuffer) {
        guard let fields = FormFields(body.readableBytesView), let name = fields["username"], let password = fields["password"], let again = fields["again"] else {
            return nil
        }
        (self.name, self.password, self.again) = (name, password, again)
    }
}
