import MartletCore

extension ServerConfiguration.Accounts {
    /// 0: passwords are good for ever.
    var passwordLifetimeMilliseconds: Int64 { passwordLifetime.components.seconds * 1_000 }
    /// 0: nobody is told.
    var passwordWarningMilliseconds: Int64 { passwordWarning.components.seconds * 1_000 }
}

extension PasswordRules {
    /// As the configuration has them, with the operator's list read anew.
    init(_ configuration: ServerConfiguration) throws(CommandFailure) {
        self.init(charactersMin: configuration.accounts.passwordLengthMin)
        if let path = configuration.accounts.refusedPasswords { refused = try Self.list(path) }
    }

    private static func list(_ path: String) throws(CommandFailure) -> RefusedPasswords {
        let hint = "accounts.refused-passwords is a file with a password on each line"
        switch ConfigurationFiles.disk.read(path, RefusedPasswords.bytesMax) {
        case .failure(let fault): throw CommandFailure(.configuration, "\(path) cannot be read: \(fault)", hint: hint)
        case .success(let bytes):
            guard let list = RefusedPasswords(lines: bytes) else {
                throw CommandFailure(.configuration, "\(path) has more than \(RefusedPasswords.countMax) passwords", hint: hint)
            }
            return list
        }
    }
}
